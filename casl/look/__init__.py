"""Looking at results from Python: what notebooks call. Every function is one question, and reads the store only.

Answers are pictures (PIL images, which notebooks show by themselves), pages of Markdown, or plain numbers.
"""
