"""What a network has to beat: shapes that need no learning."""
