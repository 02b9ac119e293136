"""Personal data: export and erasure of a customer.

identity.py        the ids and e-mail addresses of a customer
spellings.py       how texts and escapes write them
export.py          everything that is stored about a customer, as JSON
erase.py           removes a customer from the database
search.py          the messages that an erasure changes
bodies.py          reads stored bodies
sweep.py           removes a customer from every other text in the database
imported_files.py  deletes the uploaded files of imports
receipt.py         what an erasure removed, and what is left to do
"""
