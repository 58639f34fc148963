"""What a team tests its own program with: scenarios in memory, at times that are given, without a server."""
