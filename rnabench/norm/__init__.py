"""What normalises: the layers, the grammar of spaces of them, and the statistics they share."""
