"""What leaves the system for addresses that customers name."""
