"""Jobs as operators see and change them: queries, statistics, failure groups, retry, drop, edit."""
