"""The trial beside an existing connector (MODE=shadow, ADR 0033): everything is processed, and nothing is changed.

mode.py       whether the trial runs, for the guard of all calls and for each job
rehearsal.py  what a job of the trial would have done
report.py     what would have been sent, compared with the Platform and the store
go_live.py    the end of the trial
"""
