"""Who may use the application, and what it knows about them."""
