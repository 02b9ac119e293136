"""What arrives: messages, committed in groups before they are acknowledged."""
