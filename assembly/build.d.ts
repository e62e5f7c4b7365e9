/** Constants of the build (`use` in asconfig.json), for editors: the compiler puts them in by itself. */

/** 0: turbofan, 1: turboshaft, 2: wide, 3: jsc (D-26). */
declare const CIPHER: i32;
