"""What outcomes mean: accuracies, intervals, tests, sanity checks. numpy only, below evaluation and report."""
