// Where the kernel begins: a stack for what the C++ of a program calls main().
#if defined(__x86_64__)
asm(".globl _start\n"
    "_start:\n\t"
    "xor %ebp, %ebp\n\t"
    "and $-16, %rsp\n\t"
    "call cloister_main\n\t"
    "hlt");
#else
asm(".globl _start\n"
    "_start:\n\t"
    "mov x29, #0\n\t"
    "mov x30, #0\n\t"
    "bl cloister_main\n\t"
    "brk #1");
#endif
