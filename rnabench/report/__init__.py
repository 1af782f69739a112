"""Records and the views of them: tables. Knows no tensors."""
