"""The forms of bodies: one a file, and the file's name is the codec's."""
