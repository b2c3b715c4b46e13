"""What the line says about itself: the catalogue, and the registry that is scraped."""
