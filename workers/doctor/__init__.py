"""What `clearline doctor` looks at; nothing here knows a configuration object."""
