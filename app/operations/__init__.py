"""The people: what operators and the handlers read and change in the tables beside the queue."""
