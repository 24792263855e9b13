"""A study: tables under a profile, with their data and their store, opened once for the command line and for Python.

request: what is asked for. basis: its tables, data and store, found. opened: the study. cells: parts and values of its
cells. from_path, places: tables of users' files, and names of data sets. ready: what stages to run need beside casl.
Nothing here prints or reads a command line; errors name options as they are typed, since Python has the same.
"""
