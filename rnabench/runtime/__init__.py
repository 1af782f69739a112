"""What every kind of run needs: files, locks, journals, workers, stopping, progress, device."""
