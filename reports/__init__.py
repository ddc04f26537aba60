"""What a person should look at: statistics, the matrix, the verdict, pictures and the page."""
