"""The command line: `bubuku-cli`."""
