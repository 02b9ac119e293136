"""Why is it so? From a name that somebody asks about to its story in words: gather, judge, tell."""
