//! What goes wrong on demand goes wrong as it says.
