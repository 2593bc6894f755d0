"""The grammar of the language, and the parser's tables made from it."""
