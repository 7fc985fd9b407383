"""What each page shows, as typed answers that JSON and HTML share."""
