"""Find every card in a frame and rectify it; read image files."""
