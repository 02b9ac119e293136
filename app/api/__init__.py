"""The endpoints: authenticate, parse, hand to the inbox, answer after the commit. One file per door."""
