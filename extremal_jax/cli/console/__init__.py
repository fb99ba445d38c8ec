"""What a command says, and how it ends: text, JSON, progress and exit codes."""
