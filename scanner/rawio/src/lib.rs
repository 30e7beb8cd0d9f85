//! scanner/rawio
