"""LibreTranslate's API over the translation task: texts, html, files, and terms that are kept.

https://github.com/LibreTranslate/LibreTranslate/blob/main/libretranslate/app.py
"""
