"""Jobs computed by the server itself: a shared folder, and a thread in every server process."""
