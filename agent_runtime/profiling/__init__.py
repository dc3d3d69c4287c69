"""Where does a running agent spend its processor time and its memory? Loaded when somebody asks."""
