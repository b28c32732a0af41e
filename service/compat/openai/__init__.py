"""OpenAI's audio API over the speech task."""
