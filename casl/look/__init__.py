"""Results from Python, for notebooks. A function answers one question from the store; `complete` and `measure` fill it.

Answers are pictures (PIL images, which notebooks show by themselves), Markdown, or plain numbers.
"""
