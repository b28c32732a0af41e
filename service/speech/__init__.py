"""recordings → text: what transcription needs beside a task's own file."""
