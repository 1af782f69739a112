"""What a run stands on, whatever it runs: files, locks, workers, stopping, progress, device."""
