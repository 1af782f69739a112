"""Settings: typed, frozen, validated once at the edge. Nothing here imports torch."""
