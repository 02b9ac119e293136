"""`relay`: the command line. `program` is where it starts; the other files hold its commands."""
