"""Tests the Platform's contract on the merchant's own account: `relay platform verify`.

assumptions.py    what the relay assumes about the Platform, and what changes it (data)
samples.py        the marked test data, and where values come back (pure)
calls.py          every call, with its body and what it leaves behind (pure)
observations.py   what came back (values)
verdicts.py       observations -> the verdict on each assumption (pure)
name_verdicts.py  the same for the names of fields (pure)
runner.py         makes the calls
report.py         the result as JSON, and the settings to paste (pure)
"""
