"""Setting up a relay: the answers of `relay init`, and the checklist of the page *Set-up*, `GET /v1/setup` and
`relay check --json`.

    facts.py        what is known about the set-up, as values
    checklist.py    the checklist that follows from the facts; pure
    collect.py      reads the facts from the database, the store and the Platform
    records.py      the table `setup_record`: what operators did on the page
    actions.py      a test alert, the stated backup, and the end of the set-up
    test_coupon.py  a coupon that is created in the store, read back and removed
    views.py        the checklist as the API and the command show it
    env_file.py     the file of the settings: written, compared, kept; pure except for `replace_file`
    first_steps.py  what to do after `relay init`; pure
"""
