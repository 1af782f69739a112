"""torchvision's networks that classify pixels or boxes, Dense Adversary Generation on them, and their scores."""
