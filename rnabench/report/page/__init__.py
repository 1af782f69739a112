"""The page of `rnabench report`: all results of some folders in one HTML file that needs no network."""
