"""Jobs in the server itself: a folder, and a thread in every server process."""
