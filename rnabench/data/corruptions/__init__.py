"""Common corruptions, a file for each family, with the parameters of CIFAR-10-C, for images of 32 pixels.

Frost, the fifteenth, is missing: it lays photographs of frosted windows over the image, which are not part of this
package.
"""
