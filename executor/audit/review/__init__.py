"""
The record for people: searched, followed, told in sentences, exported, and as a page.
"""
