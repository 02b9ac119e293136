"""Workers to compare with. Each file is a program: `prepare` stores a backlog, `work` works it off and may then end.

All do the same job: PUT every event at the Platform, 64 at once, and record each attempt the way they offer. All call
through the relay's own client (`platform_relay.core.http`), except where the client is what is compared.
Each has the settings that its own documentation advises for many short I/O-bound jobs; the file says which.
"""
