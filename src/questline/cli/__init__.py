"""The command `questline`: thin, over the same parts the servers use."""
