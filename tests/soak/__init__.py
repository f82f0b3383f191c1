"""Mixed load on an engine, a server and batch jobs, for as long as one likes.

What each visit gets has to be what the first one got, and nothing may be left behind.
"""
