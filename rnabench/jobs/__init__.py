"""What a command asks for, from settings to files: train, evaluate, study, reproduce, measure."""
