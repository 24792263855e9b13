"""Results from Python, for notebooks. A function answers one question from the store; `complete` and `measure` fill it.

Answers are pictures (PIL images, which notebooks show by themselves), Markdown, or plain numbers.
"""

import warnings

# tqdm, which timm imports, warns in Jupyter without ipywidgets that its bars are plain text; casl draws none of them
warnings.filterwarnings("ignore", message="IProgress not found")
