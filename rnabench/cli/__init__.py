"""The command line: one file per subcommand; parse, call one engine function, render. torch is imported inside."""
