"""What a process tells of itself: counts by project, and traces."""
